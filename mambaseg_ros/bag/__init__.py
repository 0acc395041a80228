"""Bags without a ROS installation (convert, pictures) and with rclpy alone (play, record)."""
