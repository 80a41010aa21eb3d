"""From a posterior to indices: A* coding, segment by segment."""
