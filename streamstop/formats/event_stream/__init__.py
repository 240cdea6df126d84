"""The Event Stream format, .es."""
