"use strict";
(function () {
	var every = 15000; // milliseconds between two looks at the states
	var soon = 3000; // while a login with a code is under way

	// localTimes shows the times below root in the browser's own zone, and keeps UTC as the title.
	function localTimes(root) {
		root.querySelectorAll("time").forEach(function (time) {
			var at = new Date(time.dateTime);
			if (isNaN(at)) return;
			time.title = time.textContent;
			time.textContent = at.toLocaleString([], {
				year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", timeZoneName: "short"
			});
		});
	}

	// inUse reports whether a person is at work in a part of the page.
	function inUse(part) {
		return part.contains(document.activeElement) || Array.prototype.some.call(part.querySelectorAll("input"), function (field) {
			return field.value !== field.defaultValue;
		});
	}

	// show puts the states of another copy of the page into this one. Where a person is at work, it
	// changes the words alone.
	function show(copy) {
		localTimes(copy);
		document.querySelectorAll("section[data-source]").forEach(function (section) {
			var now = copy.getElementById(section.id);
			if (!now || section.isEqualNode(now)) return;
			if (!inUse(section)) {
				section.replaceWith(document.adoptNode(now));
				return;
			}
			section.querySelectorAll(".account[data-state]").forEach(function (account) {
				var other = copy.getElementById(account.id);
				if (!other) return;
				account.dataset.state = other.dataset.state;
				var words = account.querySelector(".state"), present = other.querySelector(".state");
				words.className = present.className;
				words.textContent = present.textContent;
				// A code is of no use once the login has ended.
				var code = account.querySelector(".device"), then = other.querySelector(".device");
				if (code && !then) code.remove();
				if (code && then && !then.dataset.pending) code.replaceWith(document.adoptNode(then));
			});
		});
	}

	var looking = false;
	function look() {
		if (looking || document.hidden) return;
		looking = true;
		fetch(location.href, {
			headers: { "X-Authinject-Page": document.querySelector("main").dataset.page }, cache: "no-store", redirect: "error"
		}).then(function (answer) {
			if (answer.status === 403) clearInterval(timer); // the person has logged out
			if (!answer.ok) throw new Error("status " + answer.status);
			return answer.text();
		}).then(function (text) {
			// Without its head: the policy of this page does not allow the style of another copy.
			show(new DOMParser().parseFromString(text.slice(text.indexOf("<body>")), "text/html"));
		}).catch(function () {
			// The page keeps the states that it has, and looks again later.
		}).then(function () {
			looking = false;
		});
	}

	localTimes(document);
	var waited = 0;
	var timer = setInterval(function () {
		waited += soon;
		if (waited < every && !document.querySelector(".device[data-pending]")) return;
		waited = 0;
		look();
	}, soon);
	document.addEventListener("visibilitychange", look);
})();
