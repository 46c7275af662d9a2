"""Centre of rotation: from pairs half a turn apart, from overlap, from the shape of sinograms."""
