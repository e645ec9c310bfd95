//! An [`ErrorDetail`] in the details of a [`Status`], both ways.
//!
//! The detail is the encoded message alone, without the `google.rpc.Status` around it that some
//! services use: both ends are ours, and everything that envelope holds is in the status already.

use prost::Message;
use tonic::{Code, Status};

use crate::v1::{ErrorCode, ErrorDetail};

/// A status for `detail`; the gRPC code follows from the detail's own.
///
/// `message` is for people: it names the thing at fault.
pub fn status_with(detail: &ErrorDetail, message: impl Into<String>) -> Status {
    let code = match detail.code() {
        ErrorCode::Invalid | ErrorCode::TooLong => Code::InvalidArgument,
        ErrorCode::UnknownModel => Code::NotFound,
        ErrorCode::Overloaded => Code::ResourceExhausted,
        ErrorCode::Mismatch => Code::FailedPrecondition,
        ErrorCode::Unsupported => Code::Unimplemented,
        ErrorCode::Draining | ErrorCode::Starting => Code::Unavailable,
        ErrorCode::Internal | ErrorCode::Unspecified => Code::Internal,
    };
    Status::with_details(code, message, detail.encode_to_vec().into())
}

/// What `status` says went wrong.
///
/// A status that no worker wrote (a refused connection, a proxy in between, a deadline) has no
/// detail: then the code says whether another replica may help.
pub fn detail_of(status: &Status) -> ErrorDetail {
    let sent = ErrorDetail::decode(status.details())
        .ok()
        .filter(|detail| detail.code() != ErrorCode::Unspecified);
    sent.unwrap_or_else(|| {
        let (code, retry_elsewhere) = match status.code() {
            Code::InvalidArgument | Code::OutOfRange => (ErrorCode::Invalid, false),
            Code::Unimplemented => (ErrorCode::Unsupported, false),
            Code::ResourceExhausted => (ErrorCode::Overloaded, true),
            // Cancelled is what a stream ends with whose worker went away under it.
            Code::Unavailable | Code::Cancelled | Code::Aborted => (ErrorCode::Draining, true),
            _ => (ErrorCode::Internal, true),
        };
        ErrorDetail {
            code: code.into(),
            retry_elsewhere,
            ..ErrorDetail::default()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_comes_back_as_it_was_sent() {
        let detail = ErrorDetail {
            code: ErrorCode::Overloaded.into(),
            retry_elsewhere: true,
            field: String::new(),
            retry_after_seconds: Some(3),
        };
        let status = status_with(&detail, "the queue is full");
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(status.message(), "the queue is full");
        assert_eq!(detail_of(&status), detail);
    }

    #[test]
    fn every_code_has_a_status_of_its_own_meaning() {
        for (code, expected) in [
            (ErrorCode::Invalid, Code::InvalidArgument),
            (ErrorCode::UnknownModel, Code::NotFound),
            (ErrorCode::TooLong, Code::InvalidArgument),
            (ErrorCode::Overloaded, Code::ResourceExhausted),
            (ErrorCode::Mismatch, Code::FailedPrecondition),
            (ErrorCode::Unsupported, Code::Unimplemented),
            (ErrorCode::Draining, Code::Unavailable),
            (ErrorCode::Internal, Code::Internal),
            (ErrorCode::Starting, Code::Unavailable),
        ] {
            let detail = ErrorDetail {
                code: code.into(),
                ..ErrorDetail::default()
            };
            assert_eq!(status_with(&detail, "").code(), expected, "{code:?}");
            assert_eq!(detail_of(&status_with(&detail, "")), detail, "{code:?}");
        }
    }

    #[test]
    fn a_status_without_a_detail_is_judged_by_its_code() {
        let lost = detail_of(&Status::unavailable("connection refused"));
        assert!(lost.retry_elsewhere);
        let wrong = detail_of(&Status::invalid_argument("no prompt"));
        assert_eq!(wrong.code(), ErrorCode::Invalid);
        assert!(!wrong.retry_elsewhere);
        let foreign = Status::with_details(Code::Internal, "", vec![0xff; 3].into());
        assert_eq!(detail_of(&foreign).code(), ErrorCode::Internal);
    }
}
