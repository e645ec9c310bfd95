//! A collector of traces that throws them away.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use http::{HeaderMap, HeaderValue, Response};
use http_body::Frame;
use serde::Deserialize;

#[derive(Deserialize)]
pub struct Sink {
    listen: SocketAddr,
}

impl Sink {
    pub async fn run(self) {
        let listener = tokio::net::TcpListener::bind(self.listen).await.unwrap();
        println!("listens");
        let routes = Router::new().fallback(take);
        axum::serve(listener, routes).await.unwrap();
    }
}

async fn take(request: Request) -> Response<Body> {
    to_bytes(request.into_body(), usize::MAX).await.unwrap();
    let answer = Response::builder().header("content-type", "application/grpc");
    answer.body(Body::new(Thanks { said: 0 })).unwrap()
}

/// An empty message, and that all is well.
struct Thanks {
    said: u8,
}

impl http_body::Body for Thanks {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.said += 1;
        Poll::Ready(match self.said {
            1 => Some(Ok(Frame::data(Bytes::from_static(&[0; 5])))),
            2 => {
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", HeaderValue::from_static("0"));
                Some(Ok(Frame::trailers(trailers)))
            }
            _ => None,
        })
    }
}
