// A figure takes the room that is left; if that is too little, the letters become smaller.
const HEIGHT = 720;

function fit(slide) {
  if (!slide || slide.dataset.fitted) return;
  slide.dataset.fitted = "1";
  const image = slide.querySelector("img");
  for (let size = 1; size > 0.5; size -= 0.05) {
    slide.style.fontSize = `${size}em`;
    if (image) {
      image.style.height = "0px";
      const left = HEIGHT - slide.scrollHeight - 8;
      image.style.height = `${Math.max(300, Math.min(left, 480))}px`;
    }
    if (slide.scrollHeight <= HEIGHT && slide.scrollWidth <= slide.clientWidth) return;
  }
}

MathJax.startup.promise.then(() => {
  const leaf = () => Reveal.getCurrentSlide();
  Reveal.on("ready", () => fit(leaf()));
  Reveal.on("slidechanged", () => fit(leaf()));
  Reveal.initialize({
    width: 1280, height: HEIGHT, margin: 0, center: false, hash: true, transition: "none",
    slideNumber: "c/t", plugins: [RevealNotes],
  });
});
