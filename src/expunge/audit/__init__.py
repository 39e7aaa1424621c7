"""Auditable records: canonical JSON, keys, signed envelopes, the transparency log, and bundles from outside."""
