"""The adversary: it forges records, never data, and judges what rivals accept."""
