module cometd

go 1.24
