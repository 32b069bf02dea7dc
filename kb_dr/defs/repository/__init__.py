"""What keeps the repositories in order: reports, retention."""
