package kafka

// anyPartition asks for the partition that the key names.
const anyPartition = -1
