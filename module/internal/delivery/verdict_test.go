package delivery

import "testing"

func TestStatusVerdict(t *testing.T) {
	t.Parallel()
	only503, err := ParseStatusSet([]string{"503", "404"})
	if err != nil {
		t.Fatal(err)
	}
	byDefault := DefaultOnStatus()
	tests := []struct {
		status         int
		onStatus       *StatusSet
		verdict, codes string
	}{
		{200, &byDefault, VerdictSuccess, "http_200"},
		{204, &byDefault, VerdictSuccess, "http_204"},
		{299, &byDefault, VerdictSuccess, "http_299"},
		{300, &byDefault, VerdictRetry, CodeRedirectRefused},
		{308, &byDefault, VerdictRetry, CodeRedirectRefused},
		{400, &byDefault, VerdictPermanent, "http_400"},
		{404, &byDefault, VerdictPermanent, "http_404"},
		{408, &byDefault, VerdictRetry, "http_408"},
		{410, &byDefault, VerdictPermanent, CodeGone},
		{425, &byDefault, VerdictRetry, "http_425"},
		{429, &byDefault, VerdictRetry, "http_429"},
		{451, &byDefault, VerdictPermanent, "http_451"},
		{500, &byDefault, VerdictRetry, "http_500"},
		{599, &byDefault, VerdictRetry, "http_599"},
		{99, &byDefault, VerdictRetry, CodeInvalidStatus},
		{600, &byDefault, VerdictRetry, CodeInvalidStatus},
		{999, &byDefault, VerdictRetry, CodeInvalidStatus},
		{200, &only503, VerdictSuccess, "http_200"},
		{302, &only503, VerdictPermanent, CodeRedirectRefused},
		{404, &only503, VerdictRetry, "http_404"},
		{429, &only503, VerdictPermanent, "http_429"},
		{500, &only503, VerdictPermanent, "http_500"},
		{503, &only503, VerdictRetry, "http_503"},
		{999, &only503, VerdictRetry, CodeInvalidStatus},
	}
	for _, test := range tests {
		if got := statusVerdict(test.status, test.onStatus); got != test.verdict {
			t.Errorf("status %d: got verdict %s, want %s", test.status, got, test.verdict)
		}
		if got := statusCode(test.status); got != test.codes {
			t.Errorf("status %d: got code %s, want %s", test.status, got, test.codes)
		}
	}
}
