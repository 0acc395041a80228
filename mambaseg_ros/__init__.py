"""ROS 2 side of mambaseg: the segmentation node, bags and the command line."""
