/* What systemd is told of a service (sd_notify(3)), by the protocol itself. Without NOTIFY_SOCKET nothing is. */
#ifndef COMETD_TOOLS_SERVICE_MANAGER_H
#define COMETD_TOOLS_SERVICE_MANAGER_H

/* Lines such as "READY=1\nSTATUS=subscribed". */
void service_manager_tell(const char *state);
/* "RELOADING=1", with the time that it wants. */
void service_manager_tell_reloading(void);
/* How often it wants to hear "WATCHDOG=1", in ms: twice as often as it looks; -1 for not at all. */
int service_manager_watchdog_ms(void);

#endif
