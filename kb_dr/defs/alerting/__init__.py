"""What Dagster knows of that somebody may have to be told: read part by part, as notices."""
