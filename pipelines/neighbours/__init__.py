"""Which vectors lie close together: clusters, near duplicates, quotas, for sets that need not fit into memory."""
