//! Whether an object that exists is ours to change: nothing foreign is ever adopted.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use weir_crds::labels;

/// What an existing object of a wanted name is to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    Ours,
    /// It is on its way out: ours to make again once it is gone.
    Leaving,
    /// Not ours; says whose it is.
    Foreign(String),
}

/// Judges an object by its metadata; `owners` are those that the wanted object would have.
///
/// Ours is what one of `owners` controls, and what carries our label and nobody controls. An object
/// of an owner of the same kind and name but another UID belongs to a predecessor and is being
/// collected.
pub fn claim(live: &ObjectMeta, owners: &[OwnerReference]) -> Claim {
    let controller = live
        .owner_references
        .iter()
        .flatten()
        .find(|owner| owner.controller == Some(true));
    let claim = match controller {
        None => of_label(live),
        Some(owner) if owners.iter().any(|ours| ours.uid == owner.uid) => Claim::Ours,
        Some(owner) if owners.iter().any(|ours| predecessor(ours, owner)) => Claim::Leaving,
        Some(owner) => Claim::Foreign(format!("it belongs to {} {}", owner.kind, owner.name)),
    };
    match claim {
        Claim::Ours if live.deletion_timestamp.is_some() => Claim::Leaving,
        claim => claim,
    }
}

fn of_label(live: &ObjectMeta) -> Claim {
    let managed_by = live
        .labels
        .as_ref()
        .and_then(|labels| labels.get(labels::MANAGED_BY));
    match managed_by.map(String::as_str) {
        Some(labels::MANAGER) => Claim::Ours,
        Some(other) => Claim::Foreign(format!("it is managed by {other}")),
        None => Claim::Foreign("it was not made by weir".into()),
    }
}

fn predecessor(ours: &OwnerReference, other: &OwnerReference) -> bool {
    ours.kind == other.kind && ours.name == other.name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(name: &str, uid: &str) -> OwnerReference {
        OwnerReference {
            kind: "SLMDeployment".into(),
            name: name.into(),
            uid: uid.into(),
            controller: Some(true),
            ..OwnerReference::default()
        }
    }

    fn live(managed_by: &str, owners: Vec<OwnerReference>) -> ObjectMeta {
        ObjectMeta {
            labels: Some([(labels::MANAGED_BY.to_owned(), managed_by.to_owned())].into()),
            owner_references: Some(owners),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn an_object_without_our_label_is_foreign() {
        let ours = [owner("triage", "1")];
        let helm = claim(&live("Helm", vec![]), &ours);
        assert_eq!(helm, Claim::Foreign("it is managed by Helm".into()));
        let plain = claim(&ObjectMeta::default(), &ours);
        assert_eq!(plain, Claim::Foreign("it was not made by weir".into()));
    }

    #[test]
    fn an_object_that_lost_our_label_is_still_ours_by_its_owner() {
        let mut live = live("weir", vec![owner("triage", "1")]);
        live.labels = None;
        assert_eq!(claim(&live, &[owner("triage", "1")]), Claim::Ours);
    }

    #[test]
    fn an_object_of_another_deployment_is_foreign() {
        let other = claim(
            &live("weir", vec![owner("other", "2")]),
            &[owner("triage", "1")],
        );
        assert_eq!(
            other,
            Claim::Foreign("it belongs to SLMDeployment other".into())
        );
    }

    #[test]
    fn an_object_of_a_deleted_namesake_is_leaving() {
        let leaving = claim(
            &live("weir", vec![owner("triage", "0")]),
            &[owner("triage", "1")],
        );
        assert_eq!(leaving, Claim::Leaving);
    }

    #[test]
    fn an_object_with_our_label_and_no_controller_is_ours_again_after_a_restore() {
        assert_eq!(
            claim(&live("weir", vec![]), &[owner("triage", "1")]),
            Claim::Ours
        );
    }
}
