"""What a member keeps of one partition: runs of records by their stage, their order, its vehicles' histories."""
