"""What the verifier checks: V0 form, V1 structure, V2 to V4 replay."""
