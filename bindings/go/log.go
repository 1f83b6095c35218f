package cometd

// #include "glue.h"
import "C"

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
)

// Levels of the library's that slog has none for. For a logger that has LevelBodies enabled, the beginning of what is sent
// and received is logged as well, the data of messages among it.
const (
	LevelTrace  slog.Level = -8
	LevelBodies slog.Level = -12
)

// maxLogLines is how many lines wait for the logger.
const maxLogLines = 1024

type logLine struct {
	level        int32
	target, text string
}

type logSink struct {
	lines chan logLine
	lost  atomic.Int64
}

var (
	logMutex   sync.Mutex
	logCurrent atomic.Pointer[logSink]
	logDone    chan struct{}
)

var logLevels = []struct {
	slog slog.Level
	c    int32
}{
	{LevelBodies, C.COMETD_LOG_BODIES}, {LevelTrace, C.COMETD_LOG_TRACE}, {slog.LevelDebug, C.COMETD_LOG_DEBUG},
	{slog.LevelInfo, C.COMETD_LOG_INFO}, {slog.LevelWarn, C.COMETD_LOG_WARN}, {slog.LevelError, C.COMETD_LOG_ERROR},
}

// SetLogger has the log lines of all clients of the process go to a logger, of the levels that it has enabled now; each has
// the attribute "target". nil ends that, after the lines that were there were written. A goroutine writes them: the library
// does not wait for it, and when more than 1024 are behind, the rest is lost, and counted in a line.
//
// It is not called by a handler of the logger.
func SetLogger(logger *slog.Logger) error {
	logMutex.Lock()
	defer logMutex.Unlock()
	if logger == nil {
		status := C.glue_set_log(C.COMETD_LOG_OFF)
		stopLogger(nil)
		return statusError(status)
	}
	var level int32
	for _, it := range logLevels {
		if logger.Enabled(context.Background(), it.slog) {
			level = it.c
			break
		}
	}
	sink, done := &logSink{lines: make(chan logLine, maxLogLines)}, make(chan struct{})
	go sink.write(logger, done)
	stopLogger(sink)
	logDone = done
	return statusError(C.glue_set_log(C.int32_t(level)))
}

func stopLogger(next *logSink) {
	before := logCurrent.Swap(next)
	if before != nil {
		before.lines <- logLine{level: C.COMETD_LOG_OFF} // nobody closes what others may send to
		<-logDone
	}
}

func statusError(status C.cometd_status) error {
	if status < 0 {
		return newError(Status(status))
	}
	return nil
}

// takeLogLine comes on whichever thread has something to say.
func takeLogLine(level int32, target, text string) {
	sink := logCurrent.Load()
	if sink == nil {
		return
	}
	select {
	case sink.lines <- logLine{level, target, text}:
	default:
		sink.lost.Add(1)
	}
}

func (s *logSink) write(logger *slog.Logger, done chan struct{}) {
	defer close(done)
	for line := range s.lines {
		if line.level == C.COMETD_LOG_OFF {
			return
		}
		level := slog.LevelError
		for _, it := range logLevels {
			if it.c == line.level {
				level = it.slog
			}
		}
		// A handler that panics loses a line, and not the program.
		_ = guarded(func() error {
			logger.Log(context.Background(), level, line.text, "target", line.target)
			if lost := s.lost.Swap(0); lost > 0 {
				logger.Warn("log lines were lost", "target", "cometd", "count", lost)
			}
			return nil
		})
	}
}
