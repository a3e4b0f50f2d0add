//! Stands in for crossbeam's bounded queue, whose own atomics are unknown to loom.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::PoisonError;

use crossbeam_channel::{TryRecvError, TrySendError};
use loom::sync::{Mutex, MutexGuard};

#[derive(Debug)]
struct Queue<M> {
    messages: Mutex<VecDeque<M>>,
    capacity: usize,
}

impl<M> Queue<M> {
    fn lock(&self) -> MutexGuard<'_, VecDeque<M>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sending end.
#[derive(Debug)]
pub struct Sender<M>(Arc<Queue<M>>);

impl<M> Clone for Sender<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// The receiving end.
#[derive(Debug)]
pub struct Receiver<M>(Arc<Queue<M>>);

pub fn bounded<M>(capacity: usize) -> (Sender<M>, Receiver<M>) {
    let queue = Arc::new(Queue {
        messages: Mutex::default(),
        capacity,
    });
    (Sender(queue.clone()), Receiver(queue))
}

impl<M> Sender<M> {
    pub fn try_send(&self, message: M) -> Result<(), TrySendError<M>> {
        let mut messages = self.0.lock();
        if messages.len() == self.0.capacity {
            return Err(TrySendError::Full(message));
        }
        messages.push_back(message);
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.0.lock().len()
    }
}

impl<M> Receiver<M> {
    pub fn try_recv(&self) -> Result<M, TryRecvError> {
        self.0.lock().pop_front().ok_or(TryRecvError::Empty)
    }

    pub fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}
