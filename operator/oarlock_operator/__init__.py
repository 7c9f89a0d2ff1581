"""The Oarlock operator: it observes, plans and applies.

Layers, each importing only what stands to its right: handlers > controller > cluster > reconcile > manifests | policy > names.
"""
