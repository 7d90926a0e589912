"""What people are told, and in which words. Keeping alerts is storage's work; judging is health's."""
