//! A client's wish for one tier, where the policy allows it.

use http::HeaderMap;
use weir_policy::table::Owner;

use crate::matching::Matched;
use crate::refusal::Refusal;

/// Names a tier in a request; the answer's header of the same name says which tier it was.
pub(crate) const PIN: &str = "x-weir-tier";

/// The name of a tier is at most so long.
const LONGEST_NAME: usize = 63;

/// The place of the tier that a request names. A tenant that may not pin learns of no tiers.
pub(super) fn wished(matched: &Matched, headers: &HeaderMap) -> Result<Option<usize>, Refusal> {
    let mut values = headers.get_all(PIN).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let settings = &matched.route.settings;
    let tenant = tenant(matched);
    if !tenant.is_some_and(|tenant| settings.pin_tenants.contains(tenant)) {
        return Err(Refusal::PinNotAllowed);
    }
    let name = value.to_str().ok().map(str::trim);
    let is_name = |name: &&str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(plain)
    };
    let (Some(name), None) = (name.filter(is_name), values.next()) else {
        let message = "must be there once, with the name of one tier";
        return Err(Refusal::field(PIN, message));
    };
    let place = settings.tiers.iter().position(|tier| tier.name() == name);
    match place {
        Some(place) => Ok(Some(place)),
        None => {
            let names: Vec<&str> = settings.tiers.iter().map(|tier| tier.name()).collect();
            let message = format!("there is no tier {name:?}; there are: {}", names.join(", "));
            Err(Refusal::field(PIN, message))
        }
    }
}

/// The tenant as the policy calls it; a deployment under its own name has none.
pub(super) fn tenant(matched: &Matched) -> Option<&str> {
    let Owner::Policy(policy) = &matched.route.owner else {
        return None;
    };
    let tenant = matched.tenant.as_deref()?;
    tenant.strip_prefix(&policy.name)?.strip_prefix('/')
}
