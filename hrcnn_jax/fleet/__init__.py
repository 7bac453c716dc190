"""Whole collections, on all cores of a machine or all machines of a cluster, by Ray Data.

`stores` are folders and buckets, `manifest` keeps a row for every file, `treatments` are what
becomes of a file, `worker` does that to batches of files, and `job` has workers do it on Ray.
"""
