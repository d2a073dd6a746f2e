//! A quorum on a simulated network and simulated disks, and the checkers that watch it.
