//! The codec of both ends, which counts what is in a request before it is decoded: two bytes of an
//! empty message become more than a hundred in memory.

use std::marker::PhantomData;

use prost::{Message, bytes::Buf, encoding::decode_varint};
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder},
};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

use crate::{
    status::status_with,
    v1::{
        ChooseRequest, ChooseResponse, DescribeRequest, DescribeResponse, EmbedRequest,
        EmbedResponse, ErrorCode, ErrorDetail, GenerateEvent, GenerateRequest, TokenizeRequest,
        TokenizeResponse, WatchEvent, WatchRequest,
    },
};

/// Texts and messages in one request: more than any conversation has with all its tools, or any
/// vocabulary has biases.
const MOST_PARTS: usize = 200_000;

/// The fields of a message that hold messages, and what those hold.
#[derive(Debug)]
pub struct Shape(&'static [(u32, &'static Shape)]);

const LEAF: Shape = Shape(&[]);
const CHAT: Shape = Shape(&[(1, &LEAF)]);
const PROMPT: Shape = Shape(&[(1, &CHAT), (3, &LEAF)]);
const SAMPLING: Shape = Shape(&[(9, &LEAF)]);
const CONSTRAINT: Shape = Shape(&[(4, &LEAF)]);
const RESUME: Shape = Shape(&[(7, &LEAF)]);
const GENERATE: Shape = Shape(&[
    (2, &PROMPT),
    (3, &SAMPLING),
    (4, &LEAF),
    (5, &CONSTRAINT),
    (9, &RESUME),
]);
const OF_A_PROMPT: Shape = Shape(&[(2, &PROMPT)]);

/// A message of the contract, and what is to be counted of it.
pub trait Bounded: Message + Default + 'static {
    /// None where the sender is trusted.
    const SHAPE: Option<&'static Shape>;
}

macro_rules! bounded {
    ($($message:ty: $shape:expr,)*) => {
        $(impl Bounded for $message {
            const SHAPE: Option<&'static Shape> = $shape;
        })*
    };
}

bounded! {
    GenerateRequest: Some(&GENERATE),
    ChooseRequest: Some(&OF_A_PROMPT),
    EmbedRequest: Some(&OF_A_PROMPT),
    TokenizeRequest: Some(&OF_A_PROMPT),
    DescribeRequest: Some(&LEAF),
    WatchRequest: Some(&LEAF),
    GenerateEvent: None,
    ChooseResponse: None,
    EmbedResponse: None,
    TokenizeResponse: None,
    DescribeResponse: None,
    WatchEvent: None,
}

/// Encodes as prost does, and decodes what has not too many parts.
#[derive(Debug)]
pub struct BoundedCodec<E, D>(PhantomData<(E, D)>);

impl<E, D> Default for BoundedCodec<E, D> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<E: Message + 'static, D: Bounded> Codec for BoundedCodec<E, D> {
    type Encode = E;
    type Decode = D;
    type Encoder = ProstEncoder<E>;
    type Decoder = BoundedDecoder<D>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<E, D>::default().encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        BoundedDecoder(ProstCodec::<E, D>::default().decoder())
    }
}

/// Of a [`BoundedCodec`].
#[derive(Debug)]
pub struct BoundedDecoder<D>(ProstDecoder<D>);

impl<D: Bounded> Decoder for BoundedDecoder<D> {
    type Item = D;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<D>, Status> {
        if let Some(shape) = D::SHAPE {
            // A message lies in one piece before it is decoded.
            let mut left = MOST_PARTS;
            if !fits(message.chunk(), shape, &mut left) {
                return Err(too_many());
            }
        }
        self.0.decode(message)
    }
}

fn too_many() -> Status {
    let detail = ErrorDetail {
        code: ErrorCode::Invalid.into(),
        ..ErrorDetail::default()
    };
    let message = format!("the request has more than {MOST_PARTS} texts and messages");
    status_with(&detail, message)
}

/// Whether no more than `left` texts and messages are in `message`. What is no message is left to
/// whoever decodes it.
fn fits(mut message: &[u8], shape: &Shape, left: &mut usize) -> bool {
    while let Some((field, content)) = next(&mut message) {
        let Some(content) = content else { continue };
        let Some(rest) = left.checked_sub(1) else {
            return false;
        };
        *left = rest;
        let inner = shape.0.iter().find(|(number, _)| *number == field);
        if inner.is_some_and(|(_, shape)| !fits(content, shape, left)) {
            return false;
        }
    }
    true
}

/// The number of the next field, and its bytes where it has a length; nothing at the end, or where
/// no field is.
fn next<'a>(message: &mut &'a [u8]) -> Option<(u32, Option<&'a [u8]>)> {
    let tag = decode_varint(message).ok()?;
    let field = u32::try_from(tag >> 3).ok()?;
    let content = match tag & 7 {
        0 => {
            decode_varint(message).ok()?;
            None
        }
        1 => {
            message.split_off(..8)?;
            None
        }
        2 => {
            let length = usize::try_from(decode_varint(message).ok()?).ok()?;
            Some(message.split_off(..length)?)
        }
        // The ends of a group, which nothing here is: what is between them counts all the same.
        3 | 4 => None,
        5 => {
            message.split_off(..4)?;
            None
        }
        _ => return None,
    };
    Some((field, content))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, path::Path};

    use prost::Message;
    use protox::prost_reflect::{DescriptorPool, Kind, MessageDescriptor};

    use super::*;
    use crate::v1::{Chat, Options, Prompt, Sampling, constraint, prompt};

    fn parts(bytes: &[u8], shape: &Shape) -> usize {
        let mut left = MOST_PARTS;
        assert!(fits(bytes, shape, &mut left));
        MOST_PARTS - left
    }

    fn with_messages(count: usize) -> Prompt {
        let chat = Chat {
            messages: vec![Default::default(); count],
            tools_json: vec![String::new(); count],
            ..Chat::default()
        };
        Prompt {
            form: Some(prompt::Form::Chat(chat)),
        }
    }

    #[test]
    fn what_is_empty_counts_wherever_it_is() {
        let request = GenerateRequest {
            model: "triage".to_owned(),
            prompt: Some(with_messages(10)),
            sampling: Some(Sampling {
                logit_bias: (0..10).map(|id| (id, 1.0)).collect(),
                temperature: Some(1.0),
                seed: Some(1),
                ..Sampling::default()
            }),
            constraint: Some(crate::v1::Constraint {
                form: Some(constraint::Form::Choice(Options {
                    values: vec![String::new(); 10],
                })),
            }),
            ..GenerateRequest::default()
        };
        // The model, the prompt, its chat, its ten messages and tools; sampling and its biases; the
        // constraint, its options and their ten.
        let expected = 1 + 2 + 20 + 1 + 10 + 2 + 10;
        assert_eq!(parts(&request.encode_to_vec(), &GENERATE), expected);
        let inputs = EmbedRequest {
            inputs: vec![with_messages(1); 10],
            ..EmbedRequest::default()
        };
        assert_eq!(parts(&inputs.encode_to_vec(), &OF_A_PROMPT), 40);
    }

    #[test]
    fn a_long_text_and_a_million_ids_are_few_parts() {
        let form = prompt::Form::Text("(".repeat(1_000_000));
        let ids = prompt::Form::Tokens(crate::v1::TokenIds {
            ids: vec![1; 1_000_000],
        });
        for form in [form, ids] {
            let prompt = Prompt { form: Some(form) };
            assert!(parts(&prompt.encode_to_vec(), &PROMPT) <= 2);
        }
    }

    #[test]
    fn one_part_more_than_fits_is_too_many() {
        let prompt = with_messages(5).encode_to_vec();
        assert!(fits(&prompt, &PROMPT, &mut 11));
        assert!(!fits(&prompt, &PROMPT, &mut 10));
    }

    #[test]
    fn bytes_that_are_no_message_end_the_count() {
        for bytes in [&[0xff; 20][..], &[0x0a, 0xff, 0x01], &[0x09, 0], &[0x0f]] {
            assert!(fits(bytes, &GENERATE, &mut 0), "{bytes:?}");
        }
    }

    /// What the proto says of a message: its fields that are messages, and those of theirs.
    #[derive(Debug, PartialEq)]
    struct Written(BTreeMap<u32, Written>);

    impl From<&Shape> for Written {
        fn from(shape: &Shape) -> Self {
            let fields = shape.0.iter();
            Self(
                fields
                    .map(|(field, of)| (*field, Self::from(*of)))
                    .collect(),
            )
        }
    }

    #[test]
    fn every_message_of_a_request_is_counted() {
        let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
        let file = proto.join("weir/worker/v1/worker.proto");
        let files = protox::compile([file], [&proto]).unwrap();
        let pool = DescriptorPool::from_file_descriptor_set(files).unwrap();
        fn written(message: &MessageDescriptor) -> Written {
            let held = message.fields().filter_map(|field| match field.kind() {
                Kind::Message(held) => Some((field.number(), written(&held))),
                _ => None,
            });
            Written(held.collect())
        }
        for (name, shape) in [
            ("GenerateRequest", GenerateRequest::SHAPE),
            ("ChooseRequest", ChooseRequest::SHAPE),
            ("EmbedRequest", EmbedRequest::SHAPE),
            ("TokenizeRequest", TokenizeRequest::SHAPE),
            ("DescribeRequest", DescribeRequest::SHAPE),
            ("WatchRequest", WatchRequest::SHAPE),
        ] {
            let message = pool.get_message_by_name(&format!("weir.worker.v1.{name}"));
            assert_eq!(
                Written::from(shape.unwrap()),
                written(&message.unwrap()),
                "{name}"
            );
        }
    }
}
