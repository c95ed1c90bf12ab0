"""The course's names, by explicit lists."""
