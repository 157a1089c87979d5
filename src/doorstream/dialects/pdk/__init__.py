"""The PDK dialect: the Streaming API over Socket.IO, and the token and REST routes that its clients use."""
