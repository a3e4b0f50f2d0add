//! Reading for hyper, whose buffers may be uninitialized, without `unsafe`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::rt::ReadBufCursor;
use tokio::io::{AsyncRead, ReadBuf};

/// Reads once into hyper's buffer, at most `N` bytes, by way of the stack. Returns how many bytes came.
///
/// # Errors
///
/// The reader's.
pub(crate) fn poll_read<const N: usize>(
    reader: Pin<&mut impl AsyncRead>,
    cx: &mut Context<'_>,
    buf: &mut ReadBufCursor<'_>,
) -> Poll<io::Result<usize>> {
    let mut chunk = [0; N];
    let room = buf.remaining().min(N);
    let mut read = ReadBuf::new(&mut chunk[..room]);
    ready!(reader.poll_read(cx, &mut read))?;
    buf.put_slice(read.filled());
    Poll::Ready(Ok(read.filled().len()))
}
