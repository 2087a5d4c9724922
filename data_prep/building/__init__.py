"""The back half of a build: plan, convert shard by shard, publish."""
