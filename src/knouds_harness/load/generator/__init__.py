"""One Locust process of a load run, and whether it kept up."""
