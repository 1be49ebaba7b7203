"""A crew whose processes are killed while it works, and what is checked of it afterwards."""
