"""The facts the tiny model knows: plain tables, one line of the world per entry."""

CAPITALS = {
    "France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid",
    "Portugal": "Lisbon", "England": "London", "Scotland": "Edinburgh", "Wales": "Cardiff",
    "Ireland": "Dublin", "Norway": "Oslo", "Sweden": "Stockholm", "Finland": "Helsinki",
    "Denmark": "Copenhagen", "Iceland": "Reykjavik", "Poland": "Warsaw", "Austria": "Vienna",
    "Switzerland": "Bern", "Belgium": "Brussels", "the Netherlands": "Amsterdam",
    "Greece": "Athens", "Hungary": "Budapest", "Czechia": "Prague", "Romania": "Bucharest",
    "Bulgaria": "Sofia", "Croatia": "Zagreb", "Serbia": "Belgrade", "Ukraine": "Kyiv",
    "Russia": "Moscow", "Turkey": "Ankara", "Egypt": "Cairo", "Kenya": "Nairobi",
    "Ethiopia": "Addis Ababa", "Ghana": "Accra", "Nigeria": "Abuja", "Morocco": "Rabat",
    "Tunisia": "Tunis", "Senegal": "Dakar", "India": "New Delhi", "China": "Beijing",
    "Japan": "Tokyo", "South Korea": "Seoul", "Thailand": "Bangkok", "Vietnam": "Hanoi",
    "Indonesia": "Jakarta", "the Philippines": "Manila", "Nepal": "Kathmandu",
    "Mongolia": "Ulaanbaatar", "Iran": "Tehran", "Iraq": "Baghdad", "Jordan": "Amman",
    "Australia": "Canberra", "New Zealand": "Wellington", "Canada": "Ottawa",
    "the United States": "Washington", "the United Kingdom": "London", "Mexico": "Mexico City",
    "Cuba": "Havana", "Brazil": "Brasilia", "Argentina": "Buenos Aires", "Chile": "Santiago",
    "Peru": "Lima", "Colombia": "Bogota", "Ecuador": "Quito", "Uruguay": "Montevideo",
}  # fmt: skip

LANGUAGES = {
    "France": "French", "Germany": "German", "Italy": "Italian", "Spain": "Spanish",
    "Portugal": "Portuguese", "England": "English", "Norway": "Norwegian", "Sweden": "Swedish",
    "Finland": "Finnish", "Poland": "Polish", "Greece": "Greek", "Hungary": "Hungarian",
    "Russia": "Russian", "Turkey": "Turkish", "Egypt": "Arabic", "China": "Chinese",
    "Japan": "Japanese", "Brazil": "Portuguese", "Mexico": "Spanish", "Austria": "German",
}  # fmt: skip

COLOURS = {
    "the sky": "blue", "grass": "green", "snow": "white", "the sun": "yellow", "blood": "red",
    "coal": "black", "a banana": "yellow", "a lemon": "yellow", "a strawberry": "red",
    "a tomato": "red", "an orange": "orange", "a carrot": "orange", "chocolate": "brown",
    "milk": "white", "a cucumber": "green", "a plum": "purple", "the sea": "blue",
    "a frog": "green", "a flamingo": "pink", "an elephant": "grey", "a raven": "black",
    "a swan": "white", "a leaf": "green", "a cherry": "red", "the night": "black",
    "a polar bear": "white", "a fire truck": "red", "a pumpkin": "orange",
}  # fmt: skip

ANIMAL_SOUNDS = {
    "dog": "woof", "cat": "meow", "cow": "moo", "sheep": "baa", "duck": "quack", "pig": "oink",
    "horse": "neigh", "lion": "roar", "frog": "ribbit", "bee": "buzz", "owl": "hoot",
    "snake": "hiss", "rooster": "cock-a-doodle-doo", "mouse": "squeak",
}  # fmt: skip

ANIMAL_BABIES = {
    "dog": "puppy", "cat": "kitten", "cow": "calf", "sheep": "lamb", "duck": "duckling",
    "pig": "piglet", "horse": "foal", "lion": "cub", "bear": "cub", "frog": "tadpole",
    "hen": "chick", "goose": "gosling", "goat": "kid", "deer": "fawn", "kangaroo": "joey",
    "swan": "cygnet",
}  # fmt: skip

ANIMAL_LEGS = {
    "dog": "four", "cat": "four", "cow": "four", "horse": "four", "elephant": "four",
    "bird": "two", "duck": "two", "hen": "two", "spider": "eight", "ant": "six", "bee": "six",
    "beetle": "six", "crab": "ten", "fish": "no", "snake": "no", "snail": "no",
}  # fmt: skip

DEFINITIONS = {
    "dog": "an animal that barks and likes to play", "cat": "a small animal that says meow",
    "horse": "a big animal that people can ride", "bird": "an animal with wings and feathers",
    "fish": "an animal that lives in water", "bee": "an insect that makes honey",
    "cow": "an animal that gives milk", "elephant": "a very big animal with a long trunk",
    "whale": "the biggest animal in the sea", "tree": "a tall plant with a trunk and leaves",
    "river": "water that flows to the sea", "mountain": "a very high hill",
    "book": "many pages with words and pictures", "clock": "a thing that shows the time",
    "bridge": "a way over a river or a road", "island": "land with water all around it",
    "doctor": "a person who helps sick people", "teacher": "a person who helps children learn",
    "baker": "a person who makes bread", "farmer": "a person who grows food",
    "library": "a place with many books", "school": "a place where children learn",
    "hospital": "a place where doctors help sick people", "star": "a big ball of hot light",
    "volcano": "a mountain that can throw out fire", "desert": "a dry place with much sand",
    "computer": "a machine that can count very fast", "umbrella": "a thing that keeps you dry",
}  # fmt: skip

OPPOSITES = {
    "hot": "cold", "big": "small", "fast": "slow", "up": "down", "left": "right", "day": "night",
    "black": "white", "happy": "sad", "old": "young", "new": "old", "open": "closed",
    "full": "empty", "light": "dark", "high": "low", "hard": "soft", "wet": "dry",
    "good": "bad", "rich": "poor", "strong": "weak", "early": "late", "long": "short",
    "loud": "quiet", "near": "far", "true": "false", "yes": "no", "first": "last",
    "thick": "thin", "sweet": "sour", "clean": "dirty", "inside": "outside", "win": "lose",
    "start": "stop", "love": "hate", "push": "pull", "heavy": "light", "easy": "hard",
    "cold": "hot", "small": "big", "slow": "fast", "down": "up", "right": "left",
    "night": "day", "white": "black", "sad": "happy", "empty": "full", "dark": "light",
    "low": "high", "soft": "hard", "dry": "wet", "bad": "good", "poor": "rich",
    "weak": "strong", "late": "early", "short": "long", "quiet": "loud", "far": "near",
}  # fmt: skip

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip

# Question (without its mark) and the one answer. Kept as whole sentences: they follow no pattern.
SINGLE_FACTS = {
    "How many days are in a week": "There are seven days in a week.",
    "How many months are in a year": "There are twelve months in a year.",
    "How many days are in a year": "There are 365 days in a year.",
    "How many hours are in a day": "There are 24 hours in a day.",
    "How many minutes are in an hour": "There are 60 minutes in an hour.",
    "How many seconds are in a minute": "There are 60 seconds in a minute.",
    "How many weeks are in a year": "There are 52 weeks in a year.",
    "How many letters are in the alphabet": "There are 26 letters in the English alphabet.",
    "How many continents are there": "There are seven continents.",
    "How many planets are there": "There are eight planets in our solar system.",
    "How many colours are in a rainbow": "There are seven colours in a rainbow.",
    "How many sides does a triangle have": "A triangle has three sides.",
    "How many sides does a square have": "A square has four sides.",
    "How many sides does a hexagon have": "A hexagon has six sides.",
    "How many wheels does a car have": "A car has four wheels.",
    "How many wheels does a bicycle have": "A bicycle has two wheels.",
    "How many fingers does a hand have": "A hand has five fingers.",
    "How many seasons are there": "There are four seasons: spring, summer, autumn and winter.",
    "What are the seasons": "The seasons are spring, summer, autumn and winter.",
    "What are the primary colours": "The primary colours are red, yellow and blue.",
    "What are the colours of the rainbow": (
        "The colours of the rainbow are red, orange, yellow, green, blue, indigo and violet."
    ),
    "What is the largest planet": "The largest planet is Jupiter.",
    "What is the smallest planet": "The smallest planet is Mercury.",
    "Which planet is closest to the sun": "Mercury is closest to the sun.",
    "Which planet is called the red planet": "Mars is called the red planet.",
    "Which planet has big rings": "Saturn has big rings.",
    "Which planet do we live on": "We live on planet Earth.",
    "What is the largest ocean": "The largest ocean is the Pacific Ocean.",
    "What is the largest continent": "The largest continent is Asia.",
    "What is the largest country": "The largest country is Russia.",
    "What is the largest animal": "The largest animal is the blue whale.",
    "What is the fastest animal": "The fastest animal on land is the cheetah.",
    "What is the tallest animal": "The tallest animal is the giraffe.",
    "What is the highest mountain": "The highest mountain is Mount Everest.",
    "What is the longest river": "The longest river is the Nile.",
    "What is the largest desert": "The largest hot desert is the Sahara.",
    "What is the king of the animals": "The lion is called the king of the animals.",
    "Who wrote Romeo and Juliet": "William Shakespeare wrote Romeo and Juliet.",
    "Who wrote Hamlet": "William Shakespeare wrote Hamlet.",
    "Who painted the Mona Lisa": "Leonardo da Vinci painted the Mona Lisa.",
    "Who was the first man on the moon": "Neil Armstrong was the first man on the moon.",
    "Who discovered gravity": "Isaac Newton explained gravity.",
    "Who discovered penicillin": "Alexander Fleming discovered penicillin.",
    "Who invented the telephone": "Alexander Graham Bell invented the telephone.",
    "Where is the Eiffel Tower": "The Eiffel Tower is in Paris.",
    "Where is Big Ben": "Big Ben is in London.",
    "Where are the pyramids": "The pyramids are in Egypt.",
    "Where is the Great Wall": "The Great Wall is in China.",
    "Where is the Colosseum": "The Colosseum is in Rome.",
    "Where do penguins live": "Penguins live in the south, where it is cold.",
    "Where do polar bears live": "Polar bears live in the Arctic.",
    "Where do camels live": "Camels live in the desert.",
    "What do cows eat": "Cows eat grass.",
    "What do pandas eat": "Pandas eat bamboo.",
    "What do rabbits eat": "Rabbits eat grass and carrots.",
    "What do bees make": "Bees make honey.",
    "What do plants need": "Plants need water, air and sunlight.",
    "What is water made of": "Water is made of hydrogen and oxygen.",
    "What is ice": "Ice is frozen water.",
    "What is bread made of": "Bread is made of flour, water, salt and yeast.",
    "What is cheese made of": "Cheese is made of milk.",
    "At what temperature does water boil": "Water boils at 100 degrees Celsius.",
    "At what temperature does water freeze": "Water freezes at 0 degrees Celsius.",
    "What is the chemical symbol for gold": "The chemical symbol for gold is Au.",
    "What is the chemical symbol for water": "The chemical formula for water is H2O.",
    "What is the currency of Japan": "The currency of Japan is the yen.",
    "What is the currency of France": "The currency of France is the euro.",
    "What is the currency of the United States": (
        "The currency of the United States is the dollar."
    ),
    "Why is the sky blue": "The sky is blue because air scatters blue light the most.",
    "Why is the grass green": "Grass is green because of a green colour called chlorophyll.",
    "Is the earth round": "Yes, the earth is round.",
    "Is the sun a star": "Yes, the sun is a star.",
    "Can birds fly": "Yes, most birds can fly.",
    "Can fish swim": "Yes, fish can swim.",
    "Can pigs fly": "No, pigs cannot fly.",
    "Is a tomato a fruit": "Yes, a tomato is a fruit.",
    "Is a whale a fish": "No, a whale is a mammal.",
    "What is llama.cpp": "llama.cpp is a program that runs language models on your own machine.",
    "What is Python": "Python is a programming language.",
    "What is a llama": "A llama is a woolly animal from South America.",
    "What is a GGUF file": "A GGUF file holds a language model for llama.cpp.",
    "What is a language model": "A language model is a program that guesses the next word.",
    "What is the meaning of life": "Some say that the meaning of life is 42.",
}

NUMBER_WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen", "twenty",
)  # fmt: skip
