"""What docs/reliability.md reports: golden files, hostile input, hard pictures and drift. `make reliability` runs it."""
