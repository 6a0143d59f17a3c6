//! The one provider of cryptography that this program has.

/// Makes ring the provider for all TLS connections of the process. Doing it again is harmless.
pub(super) fn use_ring() {
    // Somebody was first, which is as good.
    let _installed_before = rustls::crypto::ring::default_provider().install_default();
}
