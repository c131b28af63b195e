"""What the end-to-end tests stand on: processes, callees, callers, bytes."""
