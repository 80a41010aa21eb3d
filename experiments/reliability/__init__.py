"""What docs/reliability.md reports: golden files, hostile input, hard pictures, drift (`make reliability`)."""
