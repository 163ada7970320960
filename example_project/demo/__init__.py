"""What only the demonstration needs: sample pictures, and a button that takes the local Cloudflare down."""
