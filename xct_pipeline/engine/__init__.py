"""The engine: block operations fused into passes over shards, shared out to workers within the memory.

`blocks` says what is computed, `execution` computes it and keeps markers, `scheduling` shares tasks out to threads or a
cluster, `resources` says what there is and what is taken.
"""
