"""From equations to nodes: decides what a node is, and what it is called.

`recognize` decides which equations together are a node, and its role, with `joins` for
those where paths meet again (gelu, softmax, layer norm); `grouping` holds the groups
while they grow. `operation_names` and `addresses` name the nodes, and `build` puts the
graph together.
"""
