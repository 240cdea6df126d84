"""ROS recordings: ROS 1 bags, MCAP, and the SQLite files of ROS 2; messages of events."""
