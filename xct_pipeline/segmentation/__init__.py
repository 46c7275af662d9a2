"""From a registered volume to labels of materials, objects and interfaces, block by block."""
