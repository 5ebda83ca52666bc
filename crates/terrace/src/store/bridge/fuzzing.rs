//! What the fuzz targets need of this module.

use super::message::Message;
use crate::observe::stats::BridgeChannel;
use crate::store::split_url;

/// Reads anything as a message.
///
/// # Panics
///
/// If what is understood cannot be carried out.
pub fn message(text: &[u8]) {
    for channel in BridgeChannel::ALL {
        let Ok(message) = Message::read(*channel, text, "terrace") else { continue };
        assert!(!message.urls.is_empty() || !message.prefixes.is_empty() || !message.tags.is_empty());
        for place in message.urls.iter().chain(&message.prefixes) {
            assert!(split_url(place).is_ok_and(|(_, path, _)| path.starts_with('/')), "{place}");
        }
    }
}
