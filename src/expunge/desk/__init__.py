"""Requests that are carried out from end to end: `forget` is plan, method, hygiene and attest in one."""
