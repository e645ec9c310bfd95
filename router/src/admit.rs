//! Phase 5: limits. The wait for a replica belongs to the attempt that needs one.

use tokio::sync::OwnedSemaphorePermit;

use crate::refusal::Refusal;
use crate::shared::Shared;

/// Takes one ask in hand, until the permit is dropped. Comes after the body is read,
/// so that half-sent bodies keep nobody out; what they take has bounds of its own.
pub(crate) fn admit(shared: &Shared) -> Result<OwnedSemaphorePermit, Refusal> {
    let permit = shared.asks.clone().try_acquire_owned();
    permit.map_err(|_| Refusal::TooManyAsks {
        limit: shared.args.max_asks,
    })
}
