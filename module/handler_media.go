package module

import (
	"errors"
	"mime"
	"net/http"
	"strings"

	"github.com/promptreports/caddy-webhooks/module/internal/event"
	"github.com/promptreports/caddy-webhooks/module/internal/problem"
)

// The kinds of body.
const (
	mediaJSON       = "application/json"
	mediaLines      = "application/x-ndjson"
	mediaCloud      = "application/cloudevents+json"
	mediaCloudBatch = "application/cloudevents-batch+json"

	// mediaCloudData is the data of a CloudEvent whose attributes are headers.
	// Any content type that means JSON says so.
	mediaCloudData = "data of a CloudEvent"
)

// acceptedMedia is what a body may be.
const acceptedMedia = mediaJSON + ", " + mediaLines + ", " + mediaCloud + ", " + mediaCloudBatch

// mediaType returns the kind of the body. The content type decides: with one of
// CloudEvents, headers that look like its attributes mean nothing (CloudEvents
// HTTP protocol binding, section 3).
func mediaType(header http.Header) (string, *problem.Problem) {
	for _, encoding := range header["Content-Encoding"] {
		if !strings.EqualFold(encoding, "identity") {
			return "", problem.UnsupportedEncoding.New("send the body without a Content-Encoding")
		}
	}
	values := header["Content-Type"]
	if len(values) != 1 {
		return "", problem.UnsupportedMediaType.New("one Content-Type is required, which is one of " + acceptedMedia)
	}
	binary := event.HasCloudHeaders(header)
	if values[0] == mediaJSON && !binary {
		return mediaJSON, nil
	}
	media, err := parseMediaType(values[0], binary)
	if err != nil {
		return "", problem.UnsupportedMediaType.New(err.Error())
	}
	return media, nil
}

// parseMediaType finds the kind of body of a content type, with attributes of
// a CloudEvent in the headers or without.
func parseMediaType(value string, binary bool) (string, error) {
	media, params, err := mime.ParseMediaType(value)
	if err != nil {
		return "", errors.New("the Content-Type must be one of " + acceptedMedia)
	}
	if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return "", errors.New("the charset must be utf-8")
	}
	switch {
	case media == mediaCloud || media == mediaCloudBatch:
		return media, nil
	case strings.HasPrefix(media, "application/cloudevents"):
		return "", errors.New("CloudEvents are accepted in the JSON format, as " + mediaCloud + " or " + mediaCloudBatch)
	case binary && event.IsJSON(media):
		return mediaCloudData, nil
	case binary:
		return "", errors.New("the headers are those of a CloudEvent, whose data must be JSON")
	case media == mediaJSON || media == mediaLines:
		return media, nil
	}
	return "", errors.New("the Content-Type must be one of " + acceptedMedia)
}
