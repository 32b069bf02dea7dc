"""PostgreSQL: the family of backup, offsite copy and restore proof, and its WAL archive."""
