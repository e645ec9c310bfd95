//! What a client sees of a router, over real sockets.

mod access;
mod answers;
mod failures;
mod refusals;
mod rig;
mod worker;
