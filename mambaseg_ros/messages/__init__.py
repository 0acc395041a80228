"""ROS messages to arrays and events."""
