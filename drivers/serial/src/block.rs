//! Blocks of bytes, announced by a line and confirmed by one.

use qspool_driver::{Deadline, DriverError, ErrorClass};

use crate::LinePort;

/// What is sent at a time to a device that waits for the rest of a block.
const ZEROS: [u8; 64] = [0; 64];

impl LinePort {
    /// Sends a block: `header` is answered with the line `ready`, then come the bytes, then the line `done`.
    ///
    /// # Errors
    ///
    /// A reply other than these is of the class `Retry`. When the bytes were cut off, many devices wait for the rest
    /// for ever: see [`finish_block`](Self::finish_block).
    pub fn send_block(
        &mut self,
        header: &str,
        ready: &str,
        bytes: &[u8],
        done: &str,
        deadline: Deadline,
    ) -> Result<(), DriverError> {
        self.ask_for(header, ready, deadline)?;
        self.send_bytes(bytes, deadline).map_err(|error| error.sent(header))?;
        let reply = self.read_line(deadline).map_err(|error| error.sent(header))?;
        self.expect(header, &reply, done)
    }

    /// Gets a device out of a block that was cut off: sends zeros, at most `limit` of them, until it says something.
    /// All that it says is dropped. Returns how many were needed; 0 when it was not waiting for a block.
    ///
    /// To be used only where zeros do no harm, and with a `probe` that is answered at once by a device that was not in a
    /// block.
    pub fn finish_block(&mut self, probe: &str, limit: usize, deadline: Deadline) -> Result<usize, DriverError> {
        self.tell(probe, deadline)?;
        let mut sent = 0;
        // A few pieces more than are needed do no harm, and a quarter of a megabyte takes long enough.
        let pause = self.settings().quiet / 10;
        self.hears_something(self.settings().quiet, deadline)?;
        while !self.hears_something(pause, deadline)? {
            if sent >= limit || deadline.is_over() {
                let what = self.about(&format!("says nothing, even after {sent} zero bytes; switch it off and on"));
                return Err(DriverError::new(ErrorClass::Device, what).sent(probe));
            }
            let next = ZEROS.len().min(limit - sent);
            self.send_bytes(&ZEROS[..next], deadline)?;
            sent += next;
        }
        self.drain(deadline)?;
        Ok(sent)
    }
}
