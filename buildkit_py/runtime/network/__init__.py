"""Networks of containers: bridges, NAT, uplinks, published ports."""
